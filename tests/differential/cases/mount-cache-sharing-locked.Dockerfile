FROM diff-base
RUN --mount=type=cache,id=diff-locked,sharing=locked,target=/c echo x > /c/f
RUN --mount=type=cache,id=diff-locked,sharing=locked,target=/c cat /c/f > /seen
