ARG A=global
FROM diff-base
RUN echo [$A] > /a
ARG A
RUN echo [$A] > /b
