FROM scratch
COPY a.txt /
ARG A=1
ENV B=$A
ARG A=2
ENV C=$A
