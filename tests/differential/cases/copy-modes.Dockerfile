FROM scratch
COPY modes /modes
