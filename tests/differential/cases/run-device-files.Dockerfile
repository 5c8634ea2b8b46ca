FROM diff-base
RUN ls /dev | grep -E '^(null|zero|full|random|urandom|tty)$' | sort > /list
