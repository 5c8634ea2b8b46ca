FROM diff-base AS made
RUN mkdir /a /b && echo a > /a/f && echo b > /b/f
FROM diff-base
RUN --mount=from=made,source=/a,target=/1 --mount=from=made,source=/b,target=/2 cat /1/f /2/f > /both
