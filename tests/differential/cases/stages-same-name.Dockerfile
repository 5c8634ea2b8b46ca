FROM diff-base AS x
RUN echo 1 > /f
FROM x AS y
RUN echo 2 >> /f
FROM y
RUN echo 3 >> /f
