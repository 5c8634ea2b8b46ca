FROM scratch
COPY --chmod=644 script.sh /f
