#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A web server for the lab's files.
set -eu
[ ! -e "$ONEVIP_RUN/agent.held" ]
echo $$ >"$ONEVIP_RUN/agent.pid"
cat >"$ONEVIP_RUN/nginx.conf" <<END
daemon off;
pid $ONEVIP_RUN/nginx.pid;
error_log stderr;
user root;
events {}
http {
    access_log off;
    client_body_temp_path $ONEVIP_RUN/body;
    proxy_temp_path $ONEVIP_RUN/proxy;
    fastcgi_temp_path $ONEVIP_RUN/fastcgi;
    uwsgi_temp_path $ONEVIP_RUN/uwsgi;
    scgi_temp_path $ONEVIP_RUN/scgi;
    server {
        listen 80;
        listen [::]:80;
        root $ONEVIP_FILES;
    }
}
END
exec nginx -c "$ONEVIP_RUN/nginx.conf" -e stderr
