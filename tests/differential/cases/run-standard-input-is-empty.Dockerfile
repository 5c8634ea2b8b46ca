FROM diff-base
RUN cat > /in && wc -c < /in > /n
