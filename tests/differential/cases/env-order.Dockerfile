FROM scratch
COPY a.txt /
ENV Z=1
ENV A=1
ENV Z=2
ENV M=1
