FROM diff-base AS one
ARG A=1
FROM one
RUN echo [$A] > /a
