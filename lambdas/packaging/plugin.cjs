'use strict';
// Builds the zip (build.py) where `osls` would collect files itself, so that `osls package` and
// `osls deploy` are one step. Settings: `custom.realtimeKit` in serverless.yml; PYTHON names the
// interpreter, any from 3.11 on.
const { spawnSync } = require('node:child_process');
const path = require('node:path');

module.exports = class RealtimeKitPackage {
  constructor(serverless, _options, { log }) {
    const build = () => this.build(serverless, log);
    this.hooks = {
      'before:package:createDeploymentArtifacts': build,
      'before:package:function:package': build,
    };
  }

  build(serverless, log) {
    const { service, serviceDir } = serverless;
    const { extras = [], include = ['lambdas'] } = service.custom.realtimeKit;
    const artifact = path.join(serviceDir, '.serverless', `${service.service}.zip`);
    const python = process.env.PYTHON || 'python3';
    const options = [
      `--output=${artifact}`,
      `--runtime=${service.provider.runtime}`,
      `--architecture=${service.provider.architecture}`,
      ...extras.map((extra) => `--extra=${extra}`),
      ...include.map((folder) => `--include=${folder}`),
    ];
    const done = spawnSync(python, [path.join(__dirname, 'build.py'), ...options], {
      cwd: serviceDir,
      encoding: 'utf8',
    });
    if (done.error || done.status !== 0) {
      const why = done.error ? `${python}: ${done.error.message}` : done.stderr.trim();
      throw new serverless.classes.Error(`the functions could not be packaged: ${why}`);
    }
    log.notice(done.stdout.trim());
    service.package.artifact = artifact;
  }
};
