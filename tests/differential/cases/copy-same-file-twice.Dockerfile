FROM scratch
COPY a.txt /f
COPY a.txt /f
