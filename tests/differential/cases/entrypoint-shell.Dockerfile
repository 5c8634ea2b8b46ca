FROM scratch
COPY a.txt /
ENTRYPOINT exec top -b
