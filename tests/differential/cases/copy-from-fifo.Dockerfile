FROM diff-base
RUN mkdir /p && mkfifo /p/fifo && echo x > /p/f
FROM scratch
COPY --from=0 /p /p
