FROM scratch
ADD --chmod=0600 a.txt /f
