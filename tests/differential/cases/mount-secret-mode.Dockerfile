FROM diff-base
RUN --mount=type=secret,id=token,mode=0444,uid=1000,gid=50 stat -c '%a %u %g' /run/secrets/token > /seen
# with: --secret id=token,src={context}/a.txt --secret id=other,src={context}/b.txt
