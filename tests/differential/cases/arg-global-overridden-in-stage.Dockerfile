ARG A=global
FROM diff-base
ARG A=local
RUN echo [$A] > /a
