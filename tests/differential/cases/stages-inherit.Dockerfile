FROM diff-base AS base
ENV A=1
WORKDIR /w
USER alice
LABEL l=base
EXPOSE 1
FROM base AS next
ENV B=$A
LABEL l=next m=new
EXPOSE 2
FROM next
RUN id -un > /tmp/who
