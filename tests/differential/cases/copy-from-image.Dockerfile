FROM scratch
COPY --from=diff-base /etc/passwd /etc/
