FROM scratch
COPY a.txt /
ENV V=value
ENV A="$V" B='$V' C="'$V'" D='"$V"' E=\$V F="\$V" G=a"$V"b'$V'c
