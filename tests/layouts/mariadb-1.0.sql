CREATE TABLE `eventmatch` (
  `uuid` varchar(40) NOT NULL,
  `name` varchar(255) NOT NULL,
  `jsonpath` text NOT NULL,
  `user` varchar(255) NOT NULL,
  `disabled` datetime DEFAULT NULL,
  `error` text DEFAULT NULL,
  `target_url` text NOT NULL,
  `version` varchar(255) NOT NULL,
  `extensions` text NOT NULL,
  `created` datetime NOT NULL,
  `updated` datetime NOT NULL,
  `deleted` datetime DEFAULT NULL,
  PRIMARY KEY (`uuid`),
  KEY `eventmatch_name` (`name`),
  KEY `eventmatch_user` (`user`),
  KEY `eventmatch_disabled` (`disabled`),
  KEY `eventmatch_created` (`created`),
  KEY `eventmatch_updated` (`updated`),
  KEY `eventmatch_deleted` (`deleted`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE `notificationsystem` (
  `part` varchar(255) NOT NULL,
  `value` int(11) NOT NULL,
  PRIMARY KEY (`part`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO notificationsystem (part, value) VALUES ('major', 1), ('minor', 0);
