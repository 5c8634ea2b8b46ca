FROM scratch
COPY d* /d/
COPY *.txt /t/
