FROM scratch
ARG FROM=a.txt
ENV TO=/to/here
COPY $FROM ${TO}/${FROM}
