FROM scratch
COPY a.txt /
HEALTHCHECK CMD ["/check", "--fast"]
