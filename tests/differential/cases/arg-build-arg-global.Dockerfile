ARG BASE=scratch
FROM $BASE
ARG BASE
RUN echo [$BASE] > /base
# with: --build-arg BASE=diff-base
