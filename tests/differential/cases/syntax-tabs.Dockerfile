FROM	scratch
COPY	a.txt	/
ENV	A=1		B=2
