FROM scratch
ENTRYPOINT exec top -b
