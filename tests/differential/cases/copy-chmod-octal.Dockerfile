FROM scratch
COPY --chmod=0640 a.txt /
COPY --chmod=755 dir /bin
