FROM diff-base
RUN --mount=type=cache,id=diff-private,sharing=private,target=/c echo x > /c/f
RUN --mount=type=cache,id=diff-private,sharing=private,target=/c cat /c/f > /seen
