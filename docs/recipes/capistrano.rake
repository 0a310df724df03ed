# Holds the application's traffic while Capistrano switches to a new release. It belongs in lib/capistrano/tasks/, or
# wherever else the Capfile loads tasks from.
#
#     set :intermission_url, "http://127.0.0.1/_intermission"
#     set :intermission_roles, :web             # where nginx runs
#     set :intermission_enable, %w[--drain 10s --for 120s]
#     set :intermission_disable, %w[--rate 500r/s]
#
# The traffic is held from before `deploy:publishing`, where the new release becomes the current one, until after
# `deploy:published`, by which time most restarts are over. If the deployment fails, the traffic goes on at once; if
# this machine dies, when the time of --for has passed.

namespace :load do
  task :defaults do
    set :intermission_url, "http://127.0.0.1/_intermission"
    set :intermission_roles, :web
    set :intermission_enable, %w[--drain 10s --for 120s]
    set :intermission_disable, []
  end
end

namespace :intermission do
  desc "Hold the application's traffic"
  task :enable do
    on roles(fetch(:intermission_roles)) do
      execute :intermission, :enable, "--url", fetch(:intermission_url), *fetch(:intermission_enable)
      set :intermission_enabled, true
    end
  end

  desc "Let the application's traffic go on"
  task :disable do
    next unless fetch(:intermission_enabled)

    on roles(fetch(:intermission_roles)) do
      execute :intermission, :disable, "--url", fetch(:intermission_url), *fetch(:intermission_disable)
    end
  end
end

before "deploy:publishing", "intermission:enable"
after "deploy:published", "intermission:disable"
after "deploy:failed", "intermission:disable"
