FROM scratch
COPY a.txt /
ENV A one
ENV B $A two  three
ENV C "$A"
