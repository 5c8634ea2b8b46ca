FROM scratch
COPY a.txt /
ARG A=1
ARG B=${A}2
ENV C=$B
