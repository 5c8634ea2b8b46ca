from scratch as one
copy a.txt /
from one
env a=b
label c=d
workdir /w
