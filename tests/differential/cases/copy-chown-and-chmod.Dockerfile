FROM scratch
COPY --chown=5:6 --chmod=0710 script.sh /tool
