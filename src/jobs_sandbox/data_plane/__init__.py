"""AWS IoT over MQTT, as a device uses it. The only importer of awscrt and awsiot."""
