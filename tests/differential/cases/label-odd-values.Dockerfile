FROM scratch
COPY a.txt /
LABEL a= b="" c=' ' d="{\"x\": [1]}" "e f"=g h.i/j-k=l
