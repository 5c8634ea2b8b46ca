FROM scratch
COPY --chmod=0 a.txt /f
