FROM diff-base
RUN --mount=type=cache,id=diff-ro,target=/c echo x > /c/f
RUN --mount=type=cache,id=diff-ro,target=/c,ro cat /c/f > /seen
