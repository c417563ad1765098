"""HBase in one process, and the Thrift server through which Python speaks to it."""

from __future__ import annotations

import happybase
from thriftpy2.thrift import TException

from jobs.stack.server import Server, Site, listens

MODERN_JAVA = (
    "--add-modules=jdk.unsupported",
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang",
            "java.lang.reflect",
            "java.nio",
            "java.util",
            "java.util.concurrent",
            "jdk.internal.ref",
            "jdk.internal.util.random",
            "sun.nio.ch",
        )
    ),
    "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "-Dorg.apache.hbase.thirdparty.io.netty.tryReflectionSetAccessible=true",
)
"""What HBase 2.6, made for Java 8 to 17, needs opened in a newer one."""

ASK_TIMEOUT_MS = 3_000


def hbase(site: Site) -> Server:
    """Master, region server and ZooKeeper in one process."""
    settings = site.settings
    config, data = site.config("hbase"), site.data("hbase")
    ports = {
        "hbase_zookeeper_port": settings.hbase_zookeeper_port,
        "hbase_master_port": settings.hbase_master_port,
        "hbase_region_port": settings.hbase_region_port,
    }
    return Server(
        name="hbase",
        command=site.java_command(
            [*MODERN_JAVA, "-Xms256m", "-Xmx1g"],
            [config, *site.jars["hbase"]],
            "org.apache.hadoop.hbase.master.HMaster",
            "start",
        ),
        environment=site.java_environment("hbase"),
        ports=ports,
        prepare=lambda: site.render("hbase-site.xml", config / "hbase-site.xml", data=data),
        ready=lambda: all(listens(settings.host, port) for port in ports.values()),
    )


def thrift(site: Site) -> Server:
    """The Thrift server; it may start before HBase does, and outlives its restarts."""
    settings = site.settings
    config = site.config("thrift")
    return Server(
        name="thrift",
        command=site.java_command(
            [*MODERN_JAVA, "-Xmx256m"],
            [config, *site.jars["hbase"]],
            "org.apache.hadoop.hbase.thrift.ThriftServer",
            "start",
        ),
        environment=site.java_environment("thrift"),
        ports={"hbase_thrift_port": settings.hbase_thrift_port},
        prepare=lambda: site.render("thrift-site.xml", config / "hbase-site.xml"),
        ready=lambda: _answers(settings.host, settings.hbase_thrift_port),
    )


def _answers(host: str, port: int) -> bool:
    """Whether HBase answers through Thrift, which the open port alone does not say."""
    if not listens(host, port):
        return False
    try:
        connection = happybase.Connection(host, port, timeout=ASK_TIMEOUT_MS)
    except (OSError, TException):
        return False
    try:
        connection.tables()
    except (OSError, TException):
        return False
    finally:
        connection.close()
    return True
