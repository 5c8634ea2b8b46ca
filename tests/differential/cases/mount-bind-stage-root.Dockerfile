FROM diff-base AS made
RUN echo x > /x
FROM diff-base
RUN --mount=from=made,target=/in cat /in/x > /y
