FROM scratch
COPY a.txt /
CMD ['single', 'quotes']
