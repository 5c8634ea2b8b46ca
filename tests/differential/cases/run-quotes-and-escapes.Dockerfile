FROM diff-base
RUN echo "a  b" 'c  d' \$HOME "\$x" > /out
