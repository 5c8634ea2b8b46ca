FROM diff-base AS parent
ONBUILD RUN --mount=type=cache,id=diff-trigger,target=/c echo x > /c/f && cat /c/f > /seen
FROM parent
