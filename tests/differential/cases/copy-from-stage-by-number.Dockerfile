FROM diff-base
RUN echo zero > /zero
FROM scratch
COPY --from=0 /zero /zero
