FROM diff-base
RUN --mount=type=cache,id=diff-one,target=/c1 echo one > /c1/f
RUN --mount=type=cache,id=diff-one,target=/elsewhere cat /elsewhere/f > /seen
RUN --mount=type=cache,id=diff-two,target=/c1 ls /c1 > /other
