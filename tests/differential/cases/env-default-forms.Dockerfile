FROM scratch
COPY a.txt /
ENV SET=yes
ENV A=${SET:-no} B=${UNSET:-default} C=${SET:+plus} D=${UNSET:+plus} E=\$SET F='$SET' G="\$SET" H="${SET}x"
