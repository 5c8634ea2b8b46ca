FROM scratch
COPY a.txt /
HEALTHCHECK --interval=1.5s --timeout=1h0m0.5s --retries=10 CMD ["a"]
