FROM scratch
COPY --chmod=6755 script.sh /tool
