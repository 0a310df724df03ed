# nginx with the module and the command, from Debian's packages.
#
#     docker build -t intermission .
#     docker network create app
#     docker run -d --network app --network-alias backend YOUR-APPLICATION
#     docker run -d --network app -p 80:80 -p 127.0.0.1:8081:8081 --read-only --tmpfs /tmp intermission
#
#     curl http://127.0.0.1:8081/intermission/status
#
# For the command, see `docker exec CONTAINER intermission --help`.
#
# Its configuration is nginx-conf/docker.conf, where the addresses are explained; mount another one over
# /etc/nginx/nginx.conf. nginx runs as www-data, and writes to /tmp alone. packaging/ has the same for nginx's official image.

# The module is for one nginx only, so both stages below have the very same one. If Debian has a newer one by the time
# that the second is built, this stage is out of date, and the build says so: --no-cache makes it anew.
FROM debian:trixie-slim AS nginx
# A version here would be gone from Debian with the next security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends nginx \
    && rm -rf /var/lib/apt/lists/*

FROM nginx AS build
WORKDIR /intermission
COPY scripts/build scripts/build
COPY scripts/lib scripts/lib
COPY Cargo.toml Cargo.lock build.rs ./
COPY crates crates
COPY src src
COPY cli cli
RUN ./scripts/build

FROM nginx
COPY --from=build /intermission/target/modules/ngx_http_intermission_module.so /usr/lib/nginx/modules/
COPY --from=build /intermission/target/bin/intermission /usr/local/bin/
COPY nginx-conf/docker.conf /etc/nginx/nginx.conf
USER www-data
RUN nginx -e stderr -t
EXPOSE 80 8081
# Workers end their requests, the held ones included, before they go.
STOPSIGNAL SIGQUIT
# Without -e, nginx begins by opening a log below /var.
CMD ["nginx", "-e", "stderr", "-g", "daemon off;"]
