FROM diff-base AS made
RUN mkdir -p /v1 && echo one > /v1/f && ln -s v1 /current
FROM diff-base
RUN --mount=from=made,source=/current,target=/in cat /in/f > /f
