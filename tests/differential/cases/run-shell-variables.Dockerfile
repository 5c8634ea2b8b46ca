FROM diff-base
RUN x=1; echo $x ${x}2 $((x+1)) > /out
