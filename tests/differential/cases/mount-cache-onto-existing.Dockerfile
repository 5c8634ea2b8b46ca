FROM diff-base
RUN mkdir /c && echo under > /c/under
RUN --mount=type=cache,id=diff-existing,target=/c ls /c > /seen
RUN ls /c > /after
