FROM scratch
HEALTHCHECK CMD ["/check", "--fast"]
